#!/bin/bash
# Labels the images of a pipeline file by 16 jobs with a GPU each, which share one run folder.
#
#     sbatch examples/cluster/label.slurm.sh parts.yaml /shared/runs/parts
#
# A job that was stopped continues: submit the same line again, or one index of it (--array=5).
#SBATCH --job-name=label
#SBATCH --array=1-16
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --requeue
set -euo pipefail

pipeline=$1
run=$2
slice=$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_MAX

srun autodistill-seg run "$pipeline" --output "$run" --resume --until label --slice "$slice"
