// The controls on screen that a screen reader could not name, as HTML.
() => [...document.querySelectorAll('a[href], button, input, [role=meter], [role=group], dialog')]
  .filter((e) => e.checkVisibility())
  .filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.innerText?.trim()
    || [...(e.labels ?? [])].some((label) => label.textContent.trim())))
  .map((e) => e.outerHTML)
