#!/usr/bin/env bash
# Paints a file of prompts over night and leaves a contact sheet and a web page for the morning.
# Usage: examples/nightly-batch.sh PROMPTS.txt
# Start it again after an interruption: only what is missing is painted.
set -euo pipefail
STEPS=${STEPS:-300}
SIZE=${SIZE:-256x256}
FOLDER=${FOLDER:-outputs/nightly}
read -ra MORE <<< "${MORE:-}" # further flags, such as --workers auto

prompts=${1:?usage: nightly-batch.sh PROMPTS.txt}
code=0
vqclip batch "$prompts" --steps "$STEPS" --size "$SIZE" --output "$FOLDER" --grid "${MORE[@]}" || code=$?
# 3 means that some pictures failed; the others are worth looking at.
[ "$code" -eq 0 ] || [ "$code" -eq 3 ] || exit "$code"
vqclip gallery "$FOLDER"
exit "$code"
