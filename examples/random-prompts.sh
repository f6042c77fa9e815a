#!/usr/bin/env bash
# Paints prompts put together by chance from lists of words; every night another set.
# Usage: examples/random-prompts.sh [COUNT]
set -euo pipefail
TEMPLATE=${TEMPLATE:-"a __subject__ {at __time__|in __weather__}, __style__"}
STEPS=${STEPS:-300}
SIZE=${SIZE:-256x256}
SEED=${SEED:-$RANDOM} # the same number draws the same prompts
FOLDER=${FOLDER:-outputs/random}
read -ra MORE <<< "${MORE:-}"

count=${1:-12}
printf '%s\n' "$TEMPLATE" |
  vqclip batch - --expand random --count "$count" --seed "$SEED" \
    --steps "$STEPS" --size "$SIZE" --output "$FOLDER" "${MORE[@]}"
vqclip gallery "$FOLDER"
