// Which language a page speaks to its reader.

/** The first of the browser's languages that is among `spoken`, else the first of these. */
export function choose<W extends { lang: string }>(spoken: [W, ...W[]]): [W, string] {
  for (const language of navigator.languages) {
    const found = spoken.find(({ lang }) => lang.slice(0, 2) === language.slice(0, 2).toLowerCase());
    if (found) return [found, language];
  }
  return [spoken[0], spoken[0].lang];
}
