// Every word that the page says, in one place.
export const text = {
  product: "Audit log",
  broken: "The viewer is not configured",
  signIn: {
    title: "Sign in to the audit log",
    email: "E-mail",
    password: "Password",
    submit: "Sign in",
    working: "Signing in …",
    expired: "Your session has ended. Sign in again to go on where you were.",
  },
  signOut: "Sign out",
  skip: "Skip to the content",
  views: {
    activity: "Activity",
    alerts: "Alerts",
    costs: "Costs",
    reports: "Reports",
  } as Record<string, string>,
  organization: "Organisation",
  banner: {
    admin: "You see everything in this organisation, as its admin.",
    auditor: (until: string) => `You see everything in this organisation, as its auditor until ${until}.`,
    member: "You see your own activity. Admins see everyone's.",
  },
  nothing: {
    title: "There is nothing for you to see here",
    body:
      "Your role does not include the audit log: admins see all of their organisation, members what they did themselves, " +
      "and auditors what they were invited to. If you need access, ask an admin of your organisation.",
  },
  search: {
    label: "Search",
    placeholder: 'action:api_key.* -provider:openai created:7d cost:>0.5 "quarterly"',
    submit: "Search",
    clear: "Clear the search",
    remove: (chip: string) => `Remove ${chip}`,
    suggestions: "Suggestions",
    terms: "Terms of the search",
    help: "Words, fields and comparisons; Tab takes a suggestion.",
  },
  list: {
    label: "Entries, newest first",
    when: "When",
    who: "Who",
    what: "What",
    resource: "To what",
    outcome: "Outcome",
    cost: "Cost",
    loading: "Loading …",
    more: "Load more",
    end: "That is all.",
    none: "No entry matches.",
    newer: (count: number, more: boolean) =>
      count === 1
        ? "1 new entry in the log"
        : `${count.toLocaleString()}${more ? " or more" : ""} new entries in the log`,
    total: (value: number, exact: boolean) => `${exact ? "" : "About "}${value.toLocaleString()} entries`,
    archived: (date: string) => `Entries before ${date} may be in the archive only.`,
  },
  facets: {
    title: "What is in it",
    sample: (of: number) => `Counted over the newest ${of.toLocaleString()} matches.`,
    fields: { action: "What", actor: "Who", provider: "Provider" },
  },
  days: {
    chart: (days: number, first: string, last: string) =>
      `Entries a day, on ${days.toLocaleString()} days from ${first} to ${last}; the dates below choose a range`,
    from: "From",
    to: "to",
    show: "Show these days",
  },
  export: {
    open: "Export …",
    title: "Export what you see",
    all: "Every entry that you may read",
    format: "As",
    formats: {
      csv: "CSV, for spreadsheets",
      json: "JSON",
      ndjson: "NDJSON, verifiable line by line",
      pdf: "PDF",
    },
    download: "Download",
    background: "Make it in the background",
    cancel: "Cancel",
    close: "Close",
    streaming: (part: number, entries: number, bytes: number) =>
      `Part ${part}, ${entries.toLocaleString()} entries: ${Math.ceil(bytes / 1000).toLocaleString()} kB so far`,
    saved: (files: number, entries: number) =>
      `Saved ${entries.toLocaleString()} entries in ${
        files === 1 ? "one file" : `${files.toLocaleString()} files`
      }, oldest first.`,
    made: (state: string, done: number, total?: number): string =>
      `${text.states[state] ?? state}: ${done.toLocaleString()}${
        total === undefined ? "" : ` of ${total.toLocaleString()}`
      } entries`,
    part: (part: number, entries: number) => `Part ${part}: ${entries.toLocaleString()} entries`,
  },
  states: {
    queued: "Waiting for its turn",
    running: "Being made",
    streaming: "Being downloaded",
    done: "Done",
    failed: "Failed",
    cancelled: "Cancelled",
    withdrawn: "Withdrawn",
  } as Record<string, string>,
  costs: {
    by: "By",
    kinds: { user: "Who", provider: "Provider", model: "Model", day: "Day" },
    entries: "Entries",
    none: "none",
    total: (cost: string, entries: number) => `${cost} in all, in ${entries.toLocaleString()} entries`,
  },
  alerts: {
    show: "Show",
    states: {
      unresolved: "Not resolved",
      open: "Open",
      acknowledged: "Acknowledged",
      silenced: "Silenced",
      resolved: "Resolved",
    },
    severities: { info: "Info", low: "Low", medium: "Medium", high: "High", critical: "Critical" } as Record<
      string,
      string
    >,
    moves: {
      acknowledge: "Acknowledge",
      silence: "Silence for 8 hours",
      resolve: "Resolve",
      reopen: "Reopen",
    },
    until: (at: string) => `until ${at}`,
    seen: (times: number, at: string) => `${times === 1 ? "once" : `${times.toLocaleString()} times`}, last at ${at}`,
    entries: "Entries:",
    reason: "Why",
    none: "There is no such alert.",
  },
  reports: {
    template: "Report",
    before: "Before",
    generate: "Generate",
    period: "Without dates, it is about the last whole period.",
    files: "Files",
    none: "No report has been made yet.",
    about: (from: string, to: string, at: string) => `${from} to ${to}, asked for ${at}`,
    state: (state: string, done: number, steps: number): string =>
      state === "running" ? `${text.states[state]}: step ${done} of ${steps}` : text.states[state] ?? state,
  },
  outcome: { success: "success", failure: "failed", denied: "denied" },
  actor: {
    user: "A user",
    api_key: "An API key",
    service: "A service",
    database: "The database",
    system: "The system",
  } as Record<string, string>,
  entry: {
    copy: "Copy link",
    copied: "Copied",
    where: "From where",
    provider: "Provider",
    requestId: "Request",
    name: "Entry",
    nothing: "nothing",
    history: "its history",
    request: "In the same request",
    previous: "Before it in its chain",
    next: "After it in its chain",
    chain: (chain: number) => `Chain ${chain}`,
    raw: "The entry's text, as it was hashed",
    hash: "SHA-256 of 0x00 and this text:",
    changes: "Changes",
    added: "Added",
    removed: "Removed",
    details: "Details",
    field: "Field",
    before: "Before",
    after: "After",
  },
  proof: {
    state: {
      looking: "Looking for its receipt …",
      pending: "Pending",
      proved: "Proved",
      broken: "Broken",
      unknown: "Not known",
    },
    proved: (nth: number, size: number, origin: string) =>
      `Your browser verified its receipt: it is entry ${nth.toLocaleString()} of ${size.toLocaleString()} in ${origin}.`,
    pending: "It is not sealed yet. Sealing takes about a minute.",
    broken: (reason: string) =>
      `What is shown is not what was signed: ${reason}. Tell whoever is responsible for this log.`,
    otherRoot: "it does not lead to the root that was signed",
    otherHash: "its text has another hash than the one in its chain",
    save: "Download the receipt",
  },
  problems: {
    offline: "The network is gone. It is tried again as soon as it is back.",
    signed_out: "Your session has ended.",
    retry: "Try again",
  } as Record<string, string>,
};
