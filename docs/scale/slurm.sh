#!/bin/bash
# One search on several nodes of a Slurm cluster: `sbatch docs/scale/slurm.sh`.
#
# The first node runs the driver and trains too. When the time is up, or a node failed
# the job, submit the same file again: the search goes on from its last epochs.
#
#SBATCH --job-name=vision-tuner
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=vision-tuner-%j.log

set -euo pipefail

# Edit these three. All must lie on storage that every node mounts at the same path.
environment=$HOME/vision-tuner/.venv     # where `pip install '.[ray,cuda]'` ran
folder=$HOME/vision-tuner                # results and TensorBoard logs go below it
search=(cifar100-convnet --epochs 81 --cpus-per-trial 4 --gpus-per-trial 1)

source "$environment/bin/activate"
export VISION_TUNER_CACHE=$folder/cache  # every node reads the prepared arrays there
export RAY_USAGE_STATS_ENABLED=0
# Other users reach these ports too: only who has the token may give orders.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
# Jobs of others may share a node: a port and a folder of our own.
port=$((20000 + SLURM_JOB_ID % 20000))
temporary=/tmp/ray-$SLURM_JOB_ID

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
head_ip=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
share=(--num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}")

srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
    ray start --head --block --node-ip-address="$head_ip" --port="$port" \
    --temp-dir="$temporary" --include-dashboard=false "${share[@]}" &
for attempt in $(seq 60); do
    (exec 3<> "/dev/tcp/$head_ip/$port") 2> /dev/null && break
    [ "$attempt" -lt 60 ] || { echo "no head node after 2 minutes" >&2; exit 1; }
    sleep 2
done

if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks-per-node=1 --exclude="$head" \
        ray start --block --address="$head_ip:$port" "${share[@]}" &
fi

cd "$folder"
vision-tuner search "${search[@]}" --ray "$head_ip:$port"
