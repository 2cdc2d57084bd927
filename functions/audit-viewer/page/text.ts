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
    reports: "Reports",
    costs: "Costs",
    health: "Health",
    settings: "Settings",
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
      count === 1 ? "1 new entry" : `${count.toLocaleString()}${more ? " or more" : ""} new entries`,
    total: (value: number, exact: boolean) => `${exact ? "" : "About "}${value.toLocaleString()} entries`,
    archived: (date: string) => `Entries before ${date} may be in the archive only.`,
  },
  outcome: { success: "success", failure: "failed", denied: "denied" },
  actor: {
    user: "A user",
    api_key: "An API key",
    service: "A service",
    database: "The database",
    system: "The system",
  } as Record<string, string>,
  problems: {
    offline: "The network is gone. It is tried again as soon as it is back.",
    signed_out: "Your session has ended.",
    retry: "Try again",
  } as Record<string, string>,
};
