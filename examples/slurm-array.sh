#!/bin/bash
# An audit as an array of 64 jobs, 16 at a time, on a file system that all nodes see:  sbatch slurm-array.sh
# Some failed? Submit the whole array again: what is done is not done again. When all are done:
#   wmjax audit --merge /shared/audit --keys /shared/keys
#SBATCH --job-name=wmjax-audit
#SBATCH --array=0-63%16
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail
srun wmjax audit /shared/zoo --keys /shared/keys --out /shared/audit --shard auto --memory 8GB --resume
