// The theme puts a button for copying beside each block of code, in a landmark without a name: screen readers want one.
new MutationObserver(() => {
  document.querySelectorAll("nav.md-code__nav:not([aria-label])").forEach((nav) => {
    nav.setAttribute("aria-label", `Actions of code block ${nav.parentElement.id.replace(/\D+/g, "")}`)
  })
}).observe(document.body, { childList: true, subtree: true })
