// Looks at a rendered page, and writes what it found into the document as JSON.
const box = (element) => {
  const { left, right, top, bottom } = element.getBoundingClientRect();
  return [left, right, top, bottom];
};
const luminance = (colour) => {
  const parts = colour.match(/[\d.]+/g).slice(0, 3).map((part) => {
    const value = part / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
const contrast = (a, b) => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
const background = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (!colour.endsWith(", 0)") && colour !== "transparent") return colour;
  }
  return "rgb(255, 255, 255)";
};
const plots = [...document.querySelectorAll("figure svg[viewBox][role=img]")].map((svg) => {
  const texts = [...svg.querySelectorAll("text")].map((text) => ({
    text: text.textContent,
    box: box(text),
    contrast: contrast(getComputedStyle(text).fill, background(svg)),
  }));
  const marks = [...svg.querySelectorAll("[data-row]")].map((mark) => ({
    row: Number(mark.dataset.row),
    value: Number(mark.dataset.value),
    kind: mark.tagName,
    group: mark.parentElement.dataset.series ?? mark.parentElement.dataset.case ?? mark.parentElement.dataset.step,
    box: box(mark),
    contrast: contrast(getComputedStyle(mark)[mark.tagName === "line" ? "stroke" : "fill"], background(svg)),
  }));
  return { kind: svg.classList[svg.classList.length - 1], box: box(svg), texts, marks };
});
const words = [...document.querySelectorAll("h1,h2,h3,p,td,th,li,dt,dd,summary,small,b")]
  .filter((element) => element.getClientRects().length > 0)
  .map((element) => contrast(getComputedStyle(element).color, background(element)));
const found = {
  plots,
  least_contrast: Math.min(...words),
  width: document.documentElement.scrollWidth,
  window: document.documentElement.clientWidth,
  paper: getComputedStyle(document.body).backgroundColor,
  requests: performance.getEntriesByType("resource").length,
};
const pre = document.createElement("pre");
pre.id = "found";
pre.textContent = JSON.stringify(found);
document.body.append(pre);
