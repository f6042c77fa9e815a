#!/usr/bin/env bash
# Restyles every clip of a folder in one style. What is done stays; what was stopped goes on.
# Usage: examples/restyle-clips.sh FOLDER ["STYLE"]
set -euo pipefail
STEPS=${STEPS:-60}
PER_FRAME=${PER_FRAME:-5}
SEED=${SEED:-1}
OUT=${OUT:-outputs/restyled}
read -ra MORE <<< "${MORE:-}"

folder=${1:?usage: restyle-clips.sh FOLDER [\"STYLE\"]}
style=${2:-"an oil painting"}
shopt -s nullglob nocaseglob
for clip in "$folder"/*.{mp4,mov,mkv,webm,avi,gif}; do
  name=${clip##*/}
  target="$OUT/${name%.*}.mp4"
  [ -e "$target" ] && continue
  if [ -e "${target%.mp4}.frames/film.json" ]; then
    vqclip resume "${target%.mp4}.frames"
    continue
  fi
  # A name may hold braces, which would be fields in the name of a result.
  template=${target//\{/\{\{}
  template=${template//\}/\}\}}
  vqclip restyle "$clip" "$style" --seed "$SEED" --steps "$STEPS" --steps-per-frame "$PER_FRAME" \
    --output "$template" "${MORE[@]}"
done
