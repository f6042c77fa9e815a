"use strict";
document.documentElement.classList.add("script");

const fold = (text) => text.normalize("NFKC").toLowerCase();
const cards = [...document.querySelectorAll("article")].map((card) => {
  const parts = [...card.querySelectorAll(".prompt, .facts, .file")];
  return { card, text: fold(parts.map((part) => part.textContent).join("\n")) };
});
const field = document.querySelector("input");
const count = document.querySelector("output");

function search() {
  const words = fold(field.value).split(/\s+/);
  let shown = 0;
  for (const { card, text } of cards) {
    card.hidden = !words.every((word) => text.includes(word));
    shown += !card.hidden;
  }
  count.textContent = field.value.trim() ? `${shown} of ${cards.length} shown` : "";
}
field.addEventListener("input", search);
search();

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const line = button.previousElementSibling;
  getSelection().selectAllChildren(line);
  try {
    await navigator.clipboard.writeText(line.textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});
