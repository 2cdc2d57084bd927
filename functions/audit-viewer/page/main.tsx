// Starts the page: configuration, session, application.
import { render } from "preact";
import { openApi } from "./api.ts";
import { App } from "./app.tsx";
import { loadConfig } from "./config.ts";
import { openAuth } from "./session.ts";
import { text } from "./text.ts";

const page = document.getElementById("page")!;
try {
  const config = await loadConfig();
  const auth = openAuth(config);
  render(<App config={config} auth={auth} api={openApi(config, auth)} />, page);
} catch (error) {
  render(
    <main class="lone">
      <h1>{text.broken}</h1>
      <p>{(error as Error).message}</p>
    </main>,
    page,
  );
}
