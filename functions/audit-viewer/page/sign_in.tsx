// Signing in by e-mail and password, through supabase-js.
import { useState } from "preact/hooks";
import type { Auth } from "./session.ts";
import { text } from "./text.ts";

export function SignIn({ auth, expired }: { auth: Auth; expired: boolean }) {
  const [working, setWorking] = useState(false);
  const [refusal, setRefusal] = useState<string>();

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget as HTMLFormElement);
    setWorking(true);
    setRefusal(undefined);
    const { error } = await auth.signInWithPassword({
      email: String(fields.get("email")),
      password: String(fields.get("password")),
    });
    setWorking(false);
    if (error !== null) setRefusal(error.message);
  };

  return (
    <main class="lone">
      <h1>{text.signIn.title}</h1>
      {expired && <p role="status">{text.signIn.expired}</p>}
      <form class="sign-in" onSubmit={submit}>
        <label>
          {text.signIn.email}
          <input name="email" type="email" autocomplete="username" required />
        </label>
        <label>
          {text.signIn.password}
          <input name="password" type="password" autocomplete="current-password" required />
        </label>
        {refusal !== undefined && <p class="problem" role="alert">{refusal}</p>}
        <button type="submit" disabled={working}>{working ? text.signIn.working : text.signIn.submit}</button>
      </form>
    </main>
  );
}
