#!/usr/bin/env bash
# Shows the pictures of a batch, lets you choose the best, and flies into it.
# Usage: examples/zoom-from-best.sh FOLDER
set -euo pipefail
STEPS=${STEPS:-5} # on each frame
LENGTH=${LENGTH:-10} # in seconds
ZOOM=${ZOOM:-1.3/s}
OUT=${OUT:-outputs/zoom}
read -ra MORE <<< "${MORE:-}"

folder=${1:?usage: zoom-from-best.sh FOLDER}
shopt -s nullglob
pictures=("$folder"/*-????????????????.png) # what a batch painted, and no sheet of it
[ "${#pictures[@]}" -gt 0 ] || { echo "there are no pictures of a batch in $folder" >&2; exit 1; }
vqclip sheet "${pictures[@]}" --out "$OUT/sheet.png"
echo "Look at the sheet. Which one shall it fly into?" >&2
select best in "${pictures[@]}"; do
  [ -n "$best" ] && break
done
[ -n "${best:-}" ] || exit 0
# Painted from its recipe once more, the film's first picture is that very one.
vqclip zoom --preset "$best" --zoom "$ZOOM" --seconds "$LENGTH" --steps-per-frame "$STEPS" --output "$OUT/" "${MORE[@]}"
