// Light, dark, or as the system says. Only this choice is kept beyond the tab.

const KEPT_AS = "trtserve-theme";
const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export function currentTheme(): Theme {
  const kept = localStorage.getItem(KEPT_AS) as Theme | null;
  return kept !== null && THEMES.includes(kept) ? kept : "auto";
}

export function apply(theme: Theme): void {
  localStorage.setItem(KEPT_AS, theme);
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export const after = (theme: Theme): Theme => THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "auto";
