// Pointing at a label highlights its cells on the map, and what scrolls sideways says so. Without this script, the rest
// of the report works.
(function () {
  "use strict";
  var boxes = document.querySelectorAll(".scroll");
  function mark() {
    boxes.forEach(function (box) { box.classList.toggle("wide", box.scrollWidth > box.clientWidth + 1); });
  }
  mark();
  window.addEventListener("resize", mark);
  document.addEventListener("toggle", mark, true);
  var map = document.querySelector(".map svg");
  if (!map) return;
  var groups = map.querySelectorAll("g[data-key]");
  function show(key) {
    map.classList.toggle("focus", key !== null);
    groups.forEach(function (group) { group.classList.toggle("lit", group.dataset.key === key); });
  }
  function keyOf(event) {
    var holder = event.target.closest("tr[data-key], li[data-key], g[data-key]");
    return holder ? holder.dataset.key : null;
  }
  ["mouseover", "focusin"].forEach(function (name) {
    document.addEventListener(name, function (event) {
      if (event.target.closest("g[data-key]")) return;
      show(keyOf(event));
    });
  });
})();
