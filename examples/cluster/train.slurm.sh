#!/bin/bash
# Builds the dataset of a labeled run, trains on two machines with eight GPUs each, and evaluates.
#
#     sbatch examples/cluster/train.slurm.sh /shared/runs/parts
#
# A training that was stopped continues from its last complete epoch: submit the same line again.
#SBATCH --job-name=train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail

run=$1

srun --nodes=1 --ntasks=1 autodistill-seg build "$run"
srun --kill-on-bad-exit=1 autodistill-seg train "$run" --nodes "$SLURM_NNODES" --devices 8
srun --nodes=1 --ntasks=1 autodistill-seg evaluate "$run"
srun --nodes=1 --ntasks=1 autodistill-seg report "$run"
