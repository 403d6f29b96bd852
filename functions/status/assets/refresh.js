// Keeps the page up to date: fetches it again, and replaces its main part if that has changed.
"use strict";

(() => {
  const MAX_BACKOFF = 8;
  let faults = 0;

  const main = () => document.getElementById("main");

  const localTimes = (root) => {
    for (const time of root.querySelectorAll("time")) {
      time.title = time.textContent;
      time.textContent = new Date(time.dateTime).toLocaleString();
    }
  };

  const signature = (root) => {
    const copy = root.cloneNode(true);
    for (const time of copy.querySelectorAll("time")) time.textContent = "";
    return copy.outerHTML.replace(/ title="[^"]* UTC"/g, "");
  };

  // The focus stays on the link or button that it was on.
  const place = (element) => element?.getAttribute("href") ?? null;

  const announce = (fresh) => {
    const before = main().querySelector(".head .badge")?.textContent;
    const after = fresh.querySelector(".head .badge")?.textContent;
    if (after && before !== after) document.getElementById("news").textContent = after;
  };

  const swap = (text) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    const fresh = page.getElementById("main");
    if (!fresh || signature(fresh) === signature(main())) return;
    announce(fresh);
    const focused = place(document.activeElement);
    localTimes(fresh);
    main().replaceWith(fresh);
    document.title = page.title;
    if (focused) fresh.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
  };

  const refresh = async () => {
    const held = document.hidden || main().querySelector("details[data-hold][open]");
    if (!held) {
      try {
        const response = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (response.ok) swap(await response.text());
        faults = response.ok ? 0 : faults + 1;
      } catch {
        faults += 1;
      }
    }
    later();
  };

  const later = () => {
    const seconds = Number(main().dataset.refreshS);
    if (seconds) setTimeout(refresh, 1000 * seconds * Math.min(2 ** faults, MAX_BACKOFF));
  };

  localTimes(document);
  later();
})();
