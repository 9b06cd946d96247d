/* Small enhancements only: every page works with this file missing. htmx loads dialogs and swaps the grid; all
   listeners sit on the document, so what is swapped in needs no binding. */
(() => {
  const $ = (s, r = document) => r.querySelector(s), $$ = (s, r = document) => [...r.querySelectorAll(s)];
  const root = document.documentElement, on = (type, act, capture) => document.addEventListener(type, act, capture);

  // Messages
  const say = text => { const live = $("#live"); if (live) { live.textContent = ""; setTimeout(() => live.textContent = text, 30) } };
  const toast = text => { const box = $(".toasts"), t = $("#tpl-toast")?.content.firstElementChild.cloneNode(true); if (!box || !t) return;
    $("div", t).textContent = text; box.append(t); say(text); let id = setTimeout(() => t.remove(), 6000);
    t.onmouseenter = t.onfocusin = () => clearTimeout(id); t.onmouseleave = t.onfocusout = () => { clearTimeout(id); id = setTimeout(() => t.remove(), 3000) } };
  const problem = name => { const page = $("#problem"), body = $("dialog[open] .dialog-b"); $(".dialog-b .problem")?.remove(); if (!page) return;
    // What lies behind a dialog is not seen
    const bar = name && body ? page.cloneNode(true) : page; if (bar !== page) { bar.removeAttribute("id"); bar.className = "note note-bad problem"; $("button", bar).remove(); body.prepend(bar) }
    bar.hidden = !name; $("span", bar).textContent = name ? page.dataset[name] : ""; if (name) bar.scrollIntoView({ block: "nearest" }) };
  const flash = $("#flash")?.textContent; if (flash) toast(flash);

  // Theme: the server renders data-theme from a cookie; this only saves the page load
  const setTheme = b => { const t = b.value, f = b.form; t === "system" ? delete root.dataset.theme : root.dataset.theme = t;
    $$("[data-set-theme]").forEach(x => x.setAttribute("aria-pressed", x.value === t));
    const body = new URLSearchParams(new FormData(f)); body.set(b.name, t); fetch(f.action, { method: "POST", body, redirect: "manual" }).catch(() => problem("away")) };

  // Dialogs: the opener, or what stands in its place, gets the focus back
  let back;
  const remember = el => { const row = el?.closest("tr"), menu = el?.closest("[popover]");
    back = { el: menu ? $(`[popovertarget="${menu.id}"]`) : el, row: row?.id, near: [row?.nextElementSibling?.id, row?.previousElementSibling?.id] } };
  const byId = id => id && document.getElementById(id);
  const giveBack = () => { if (!back) return; const { el, row, near } = back, name = r => r && $(".name, button, a", r);
    const opens = el?.getAttribute("popovertarget");
    const to = el?.isConnected ? el : byId(el?.id) || opens && $(`[popovertarget="${opens}"]`) || name(byId(row)) || name(byId(near[0])) || name(byId(near[1])) || $(".tablewrap") || $("main"); to?.focus(); back = null };
  const closeMenus = () => $$(":popover-open").forEach(p => p.hidePopover());
  const show = (d, from) => { if (!d) return; if (from) remember(from); closeMenus(); if (!d.open) d.showModal(); ($("[aria-invalid=true]", d) || $("[autofocus]", d))?.focus() };
  on("close", e => { if (e.target.matches?.("dialog")) { if (e.target.id === "dialog") e.target.replaceChildren(); giveBack() } }, true);
  on("dialogClose", () => $("#dialog")?.close());
  on("toast", e => toast(e.detail.value ?? e.detail));

  on("click", e => {
    const t = e.target.closest("[data-dialog],[data-close],[data-copy],[data-set-theme],[data-clear],[data-ask]");
    if (!t) { if (e.target.matches?.("dialog")) { const r = e.target.getBoundingClientRect(), x = e.clientX, y = e.clientY; if (x < r.left || x > r.right || y < r.top || y > r.bottom) e.target.close() } return }
    const d = t.dataset;
    if (d.dialog) { const el = byId(d.dialog); if (el) { e.preventDefault(); show(el, t) } }
    else if ("close" in d) { const box = t.closest("dialog,.toast,#problem"); if (box) { e.preventDefault(); box.close ? box.close() : box.id ? problem() : box.remove() } }
    else if (d.copy != null) { const text = d.copy.startsWith("#") ? $(d.copy).innerText.trim() : d.copy || t.parentNode.innerText.trim(), l = $("[data-l]", t), u = $("use", t);
      navigator.clipboard?.writeText(text).then(() => { say("Copied to clipboard"); if (!l) return toast("Copied " + text); if (t.matches(".done")) return;
        const was = l.textContent, icon = u?.getAttribute("href"); t.classList.add("done"); l.textContent = "Copied"; u?.setAttribute("href", icon.replace("#i-copy", "#i-check"));
        setTimeout(() => { t.classList.remove("done"); l.textContent = was; u?.setAttribute("href", icon) }, 2000) }, () => say("Select the text and copy it")) }
    else if (d.ask != null) { if (window.htmx && !e.ctrlKey && !e.metaKey && !e.shiftKey) { e.preventDefault(); htmx.ajax("GET", t.href, { source: t, target: "#dialog" }) } }
    else if (d.setTheme != null) { e.preventDefault(); setTheme(t) }
    else if (d.clear != null) { $$("tbody input[type=checkbox], [name=all]").forEach(c => c.checked = false); count() }
  });

  // htmx
  on("htmx:beforeRequest", e => { problem(); if (e.detail.target?.id === "dialog" && !$("#dialog")?.open) remember(e.detail.elt) });
  on("htmx:afterSwap", e => { if (e.detail.target?.id === "dialog" && e.detail.target.childElementCount) show(e.detail.target) });
  on("htmx:afterSettle", () => { count(); tick(); const bad = $(".errsum"); if (bad && !bad.contains(document.activeElement) && !$("dialog[open]")) bad.focus() });
  on("htmx:sendError", () => problem("away")); on("htmx:timeout", () => problem("away"));
  on("htmx:responseError", e => problem(e.detail.xhr.status >= 500 ? "away" : "refused"));
  $(".errsum")?.focus();

  // Menus: fall back to measured position where CSS anchors are missing; arrow keys move inside
  const items = p => $$("a,button,input:not(:disabled)", p);
  on("toggle", e => { const p = e.target; if (!p.matches?.(".menu")) return;
    const b = $(`[popovertarget="${p.id}"]`); b?.setAttribute("aria-expanded", e.newState === "open");
    if (e.newState !== "open") return;
    if (!CSS.supports("position-area", "bottom") && b) { const r = b.getBoundingClientRect(), w = p.offsetWidth, h = p.offsetHeight;
      p.style.left = Math.max(8, p.matches(".menu-left") ? r.left : r.right - w) + "px"; p.style.top = (r.bottom + h + 8 > innerHeight ? r.top - h - 8 : r.bottom) + "px" }
    items(p)[0]?.focus({ focusVisible: false }) }, true);
  on("keydown", e => { const p = e.target.closest?.(".menu"), m = !p && e.key === "ArrowDown" && e.target.closest?.("[popovertarget]")?.popoverTargetElement;
    if (m) { e.preventDefault(); m.matches(":popover-open") || m.showPopover({ source: e.target }); items(m)[0]?.focus() } if (!p) return;
    const it = items(p), i = it.indexOf(e.target), to = { ArrowDown: i + 1, ArrowUp: i - 1, Home: 0, End: it.length - 1 }[e.key];
    if (to != null) { e.preventDefault(); it.at(to % it.length)?.focus() } });

  // A picker searches while one types, so Enter there does not send the whole form
  on("keydown", e => { if (e.key === "Enter" && e.target.matches?.("[data-find]")) e.preventDefault() });

  on("htmx:afterSettle", e => { const found = e.detail.requestConfig?.elt?.matches?.("[data-find]") && byId(e.detail.target?.id), s = found && $("[data-says]", found); if (s) say(s.textContent) });

  // Selection
  let last;
  const boxes = () => $$("tbody input[name=key]");
  function count() { const all = $("#all"), out = $("#count"), c = boxes(), n = c.filter(x => x.checked).length, every = $("[name=all]");
    if (all) { all.checked = n && n === c.length; all.indeterminate = n > 0 && n < c.length }
    if (out) out.textContent = every?.checked ? `${every.dataset.count ?? every.value} keys selected` : n + (n === 1 ? " key selected" : " keys selected") }
  on("change", e => { const t = e.target; if (t.id === "all") boxes().forEach(c => c.checked = t.checked); else if (!t.matches("[name=all], tbody input[name=key]")) return; count(); say($("#count")?.textContent) });
  on("click", e => { const c = e.target; if (!c.matches?.("tbody input[name=key]")) return;
    const a = boxes(), i = a.indexOf(c), j = a.indexOf(last); if (e.shiftKey && j >= 0) { a.slice(Math.min(i, j), Math.max(i, j) + 1).forEach(k => k.checked = c.checked); count() } last = c });
  count();

  // Shortcuts: off inside fields and where the profile turns them off
  on("keydown", e => { if (e.ctrlKey || e.metaKey || e.altKey || e.target.matches?.("input,select,textarea") || $("dialog[open]") || root.dataset.keys === "off") return;
    if (e.key === "/") { const s = $("[data-search]"); if (s) { e.preventDefault(); s.focus() } }
    if (e.key === "c") $("[data-create]")?.click();
    const tr = e.target.closest?.("tbody tr"); if (tr && "jkx".includes(e.key)) { if (e.key === "x") $("input[name=key]", tr)?.click(); else (e.key === "j" ? tr.nextElementSibling : tr.previousElementSibling)?.querySelector(".name")?.focus() } });

  // Roll: repeat the two dates in words above the code field; without script each choice names its own date
  on("change", e => { const f = e.target.closest("form"), s = f && $("[data-sum]", f); if (!s) return;
    const stop = $("[name=stop]:checked", f), keep = $("[name=keep]:checked", f), put = (name, text) => { const el = $(name, s); if (el && text) el.textContent = text };
    put("[data-sum-stop]", keep?.value === "none" ? "now" : stop?.dataset.says); put("[data-sum-keep]", keep?.dataset.keep); put("[data-sum-expires]", $("[data-sum-exp]", f)?.selectedOptions[0]?.dataset.says) });

  // Times that tick: the text is right when rendered, this only keeps it right
  function tick() { const now = performance.now() / 1000; $$("time[data-left]").forEach(t => { t.until ??= now + +t.dataset.left; const s = Math.max(0, t.until - now), d = Math.floor(s / 86400), h = Math.floor(s % 86400 / 3600), m = Math.floor(s % 3600 / 60);
    t.textContent = d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : `${m} min` }) }
  tick(); setInterval(tick, 30000);
})();
