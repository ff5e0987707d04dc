import { defineConfig } from "vite";

export default defineConfig({
  base: "./", // relative, so that the page also works below a prefix that a proxy adds
  build: {
    outDir: process.env.CONSOLE_OUT ?? "../service/http/console",
    emptyOutDir: true,
    license: { fileName: "licenses.md" }, // of what the files contain, as their licenses ask
    target: "es2022",
    assetsInlineLimit: 0, // the policy of the page allows no data: but images
    modulePreload: { polyfill: false }, // it would be an inline script
    reportCompressedSize: false,
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { proxy: Object.fromEntries(["/engines", "/names", "/options", "/metrics", "/logs", "/version", "/openapi.json", "/v2"].map((path) => [path, "http://127.0.0.1:8000"])) },
});
