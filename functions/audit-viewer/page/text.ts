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
    id: "An admin who wants to invite you as an auditor needs your user id:",
  },
  notForYou: "This page is not for your role.",
  saving: { busy: "Saving …", saved: "Saved. The change is in the log." },
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
  builder: {
    open: "Build",
    label: "Conditions of the search",
    joined: "How the conditions go together",
    all: "All of these hold",
    any: "Any of these holds",
    not: "not",
    condition: (nth: number) => `Condition ${nth}`,
    group: (nth: number) => `Group ${nth}`,
    add: "Add a condition",
    addGroup: "Add a group",
    remove: (nth: number) => `Remove condition ${nth}`,
    removeGroup: "Remove the group",
    field: "Field",
    path: "a path into the details …",
    pathName: "Path",
    op: "Comparison",
    value: "Value",
    another: "Another value",
    ends: ["From", "To"],
    incomplete: "Not part of the search yet: something is missing.",
    fields: {
      action: "what was done",
      actor: "who",
      actor_type: "kind of actor",
      chain: "chain",
      cost: "cost",
      created: "when",
      email: "e-mail",
      ip: "IP address",
      outcome: "outcome",
      provider: "provider",
      request_id: "request",
      resource: "resource (type/id)",
      resource_id: "resource's id",
      resource_type: "resource's type",
      seq: "position in its chain",
      text: "any text",
      user_agent: "user agent",
    } as Record<string, string>,
    opName: (field: string, op: string): string =>
      (field === "created" ? text.builder.ofTimes[op] : undefined) ?? text.builder.ops[op] ?? op,
    ops: {
      eq: "is",
      like: "matches (* for anything)",
      gt: "is more than",
      gte: "is at least",
      lt: "is less than",
      lte: "is at most",
      between: "is between",
      in: "is one of",
      exists: "is there",
      words: "has the words",
      begins: "has words, the last one beginning with",
    } as Record<string, string>,
    ofTimes: {
      eq: "is within (2026-03, 7d)",
      gt: "is after",
      gte: "is from",
      lt: "is before",
      lte: "is up to",
    } as Record<string, string>,
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
  schedules: {
    title: "By schedule",
    about:
      "Each report is about the last whole month, quarter or year before it is made. What was missed is made once.",
    next: (runs: string[]) =>
      runs.length === 0
        ? "This is no time that comes round. Five fields: minute, hour, day, month, weekday."
        : `Next: ${runs.join("; ")}`,
    paused: (since: string) => `Paused since ${since}. What was due meanwhile is not made up for.`,
    to: (channels: string) => `To: ${channels}`,
    usual: "the usual channels",
    last: (at: string) => `last made ${at}`,
    ofProject: "for every organisation of the project",
    pause: "Pause",
    goOn: "Go on",
    remove: "Delete",
    removed: "Deleted. What it made stays.",
    confirm: (name: string) => `Delete the schedule of “${name}”?`,
    then: "It makes no more reports. Those that it made stay.",
    new: "Have a report made by schedule",
    often: "How often",
    times: {
      week: "Every Monday",
      month: "Every month",
      quarter: "Every quarter",
      year: "Every year",
      other: "As written",
    } as Record<string, string>,
    cron: "When (cron)",
    zone: "Time zone",
    channels: "Deliver to (none chosen: the usual channels)",
    make: "Create the schedule",
  },
  health: {
    summary: (wrong: number) =>
      wrong === 0
        ? "Nothing needs attention."
        : wrong === 1
        ? "One thing needs attention."
        : `${wrong} things need attention.`,
    asOf: (at: string) => `As of ${at}.`,
    again: "Look again",
    never: "never",
    states: { well: "In order", wrong: "Needs attention", missing: "Not set up" },
    capture: {
      title: "Capture",
      says: (tables: number, broken: number) =>
        broken === 0
          ? `Each of the ${tables.toLocaleString()} tables that should be captured is captured whole.`
          : `Of ${tables.toLocaleString()} tables ${broken.toLocaleString()} ${
            broken === 1 ? "is" : "are"
          } not captured whole: changes there can be missing from the log.`,
      wayOut: "Whoever runs the project sees which, and what to do, in the view audit.coverage.",
    },
    sealing: {
      title: "Sealing",
      says: (waiting: number, since: string | null) =>
        waiting === 0 || since === null
          ? "Every entry is sealed: a later change of it would be found."
          : `${waiting.toLocaleString()} ${
            waiting === 1 ? "entry waits" : "entries wait"
          } to be sealed, the oldest since ${since}.`,
      last: (at: string) => `The newest checkpoint is of ${at}.`,
      checkpoint: "In its own words",
      size: (size: number) => `${size.toLocaleString()} entries`,
      wayOut:
        "Entries are sealed every minute once the job is set up. Ask whoever runs the project to look at the job “seal” (audit-jobs, cron.job_run_details).",
    },
    verification: {
      title: "Verification",
      says: (was: boolean | null, at: string) =>
        was === null
          ? "The log has not been verified as a whole yet."
          : was
          ? `All chains and logs were verified, last on ${at}.`
          : `Verification found something broken, last on ${at}. See the findings.`,
      begun: (at: string) => `A round is under way since ${at}.`,
      wayOut:
        "The database verifies itself once a day (job audit-verify). Whoever does not want to rely on it verifies the archive from outside: npm run verify.",
    },
    findings: {
      title: "Findings",
      says: (own: number, project: number) =>
        own + project === 0 ? "The checks found nothing." : [
          own > 0 && `${own.toLocaleString()} about this organisation`,
          project > 0 && `${project.toLocaleString()} about the whole project`,
        ].filter(Boolean).join(", ") + ".",
      kinds: {
        chain_broken: "A chain is broken at",
        log_broken: "A sealed log is broken:",
        entry_altered: "An entry was altered:",
        entries_missing: "Entries are missing in",
        archive_damaged: "The archive is damaged:",
        identity_altered: "An identity was altered:",
        channel_disabled: "A channel gets nothing any more:",
        delivery_failed: "A message was not delivered to channel",
      } as Record<string, string>,
      seen: (times: number, first: string, last: string) =>
        times === 1 ? `seen ${first}` : `seen ${times.toLocaleString()} times from ${first} to ${last}`,
      wayOut:
        "Each finding left an entry (action:verification.failed). Keep what there is, and have whoever runs the project look into audit.findings.",
    },
    archive: {
      title: "Archive",
      says: (entries: number, readBack: number, at: string) =>
        entries === 0
          ? "Nothing is in the archive yet."
          : `${entries.toLocaleString()} entries are archived. ${
            readBack === 0
              ? "None of them has been read back yet."
              : `${readBack.toLocaleString()} of them were read back and were the same, last ${at}.`
          }`,
      wayOut:
        "Nothing leaves the database before it was archived and read back. Ask whoever runs the project to look at the jobs “seal” and “read-back”.",
    },
    outside: {
      title: "Outside",
      none: "Nobody outside holds the project to what it signed.",
      kinds: {
        webhook: "receivers of checkpoints",
        bucket: "buckets",
        s3: "buckets (S3)",
        mirror: "mirrors",
        witness: "witnesses",
      } as Record<string, string>,
      says: (kind: string, receivers: number, behind: number, at: string) =>
        `${kind}: ${receivers.toLocaleString()}, ${
          behind === 0 ? "none behind" : `${behind.toLocaleString()} behind by more than a day, or gone`
        }; last success ${at}.`,
      since: (at: string) => `Behind since ${at}.`,
      wayOut:
        "Without a checkpoint outside, the project's owner could rewrite the log unseen. Download receipts and keep them; whoever runs the project sets up receivers and witnesses.",
    },
    delivery: {
      title: "Alerts reach somebody",
      says: (channels: number, at: string) =>
        channels === 0
          ? "There is no channel: alerts wait here until somebody looks."
          : `${channels.toLocaleString()} ${channels === 1 ? "channel" : "channels"}; one last took a message ${at}.`,
      troubles: (disabled: number, failing: number, dead: number, waiting: number) =>
        [
          disabled > 0 && `${disabled.toLocaleString()} disabled`,
          failing > 0 && `${failing.toLocaleString()} failing`,
          dead > 0 && `${dead.toLocaleString()} messages given up`,
          waiting > 0 && `${waiting.toLocaleString()} messages waiting`,
        ].filter(Boolean).join(", ") + ".",
      wayOut: "Admins make, test and enable channels under Settings, and send again what was given up.",
    },
    retention: {
      title: "Retention",
      says: (database: number | null, archive: number | null) =>
        `Entries stay ${text.health.retention.days(database)} in the database and ${
          text.health.retention.days(archive)
        } in the archive.`,
      days: (days: number | null): string => days === null ? "for ever" : `${days.toLocaleString()} days`,
      chosen: (chosen: boolean) => chosen ? "The organisation chose so." : "That is the project's default.",
      next: (database: number | null, archive: number | null, at: string): string =>
        `From ${at} on: ${text.health.retention.days(database)} in the database, ${
          text.health.retention.days(archive)
        } in the archive.`,
      oldest: (database: string, archive: string) =>
        `The oldest entry in the database is of ${database}, the oldest in the archive of ${archive}.`,
      holds: (names: string) => `Nothing is deleted while these legal holds are in place: ${names}.`,
    },
  },
  settings: {
    about: "Each change is an entry of the log, with who made it.",
    save: "Save",
    recording: {
      title: "What is recorded",
      ip: "IP addresses",
      ipChoices: {
        on: "Whole",
        truncated: "Cut to their network (203.0.113.0, 2001:db8:1::)",
        off: "Not at all",
      },
      queryText: "The text of queries and prompts",
      fromNowOn: "Applies to what is recorded from now on. What is in the log stays as it is.",
    },
    hours: {
      title: "Time zone and hours of work",
      zone: "Time zone of the organisation",
      saveZone: "Save the time zone",
      work: "Hours of work",
      learned: "Learned from what people do",
      fixed: "Given",
      days: "Days",
      dayNames: ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
      from: "From",
      to: "To",
      why: "Activity at other hours raises an alert (rule “Activity at unusual hours”).",
      save: "Save the hours",
    },
    keeping: {
      title: "Retention",
      database: "Days in the database",
      archive: "Days in the archive",
      forEver: "for ever",
      change: "Change …",
      takeBack: "Take the waiting change back",
      confirm: "Change how long entries are kept?",
      longer: "This applies at once.",
      shorter: (days: number, at: string) =>
        `Shorter periods wait for ${days} days, so that the change can be seen in the log and taken back: they apply from ${at} on.`,
      gone: "From then on entries that are older are deleted, unless a legal hold is in place. That cannot be undone.",
      rules: (days: number) =>
        `90 days or more, and in the archive no shorter than in the database; nothing means for ever. Longer applies at once, shorter after ${days} days.`,
    },
    holds: {
      title: "Legal holds",
      about: "While one is in place, nothing of the organisation is deleted, in the database or in the archive.",
      none: "No legal hold is in place.",
      since: (at: string) => `In place since ${at}`,
      ofProject: "Placed for the whole project; its owner releases it.",
      name: "Name",
      reason: "Reason",
      place: "Place the hold",
      release: "Release",
      confirm: (name: string) => `Release “${name}”?`,
      then: "What is past its retention may be deleted again, once no other hold is in place.",
    },
    auditors: {
      title: "Auditors",
      about: "They read the whole log of this organisation until a date, and change nothing.",
      none: "Nobody audits this log.",
      until: (at: string, over: boolean) => over ? `Ended ${at}` : `Until ${at}`,
      sees: (identities: boolean) => identities ? "sees e-mail and IP addresses" : "sees no e-mail and IP addresses",
      who: "User id",
      id: "A user id has 36 characters: 8-4-4-4-12.",
      untilDay: "Until the end of",
      identities: "Show e-mail and IP addresses",
      grant: "Grant access",
      howToId: "Who signs in here without a role is shown the user id, to give to you.",
      revoke: "Revoke",
      confirm: (who: string) => `End the access of ${who}?`,
      then: "They read nothing any more, at once.",
    },
  },
  channels: {
    title: "Channels",
    about: "Where alerts and reports go.",
    none: "There is no channel: alerts are seen by who looks.",
    new: "New channel",
    kind: "Kind",
    name: "Name",
    kinds: { webhook: "Webhook", slack: "Slack", email: "E-mail", smtp: "E-mail by SMTP" },
    fields: {
      url: "Address (https://…)",
      to: "To (several with commas)",
      from: "From",
      api: "API (empty: Resend)",
      key: "API key (empty: the project's)",
      host: "Mail server",
      port: "Port (465, 2465 or 2587)",
      username: "Username",
      password: "Password",
    } as Record<string, string>,
    makeUsual: "A usual channel: gets every alert whose rule names no other",
    makePersonal: "E-mail and IP addresses may stand in its messages",
    make: "Create the channel",
    made: (name: string) => `“${name}” was created.`,
    leads: (host: string, recipients: number) =>
      recipients === 0 ? host : `${recipients === 1 ? "one recipient" : `${recipients} recipients`}, by ${host}`,
    usual: (is: boolean) => is ? "usual" : "only where it is named",
    personal: (is: boolean) => is ? "with addresses of people" : "without addresses of people",
    worked: (at: string) => `Last took a message ${at}`,
    unused: "Took no message yet",
    failing: (times: number, why: string) => `Failed ${times === 1 ? "once" : `${times} times in a row`}: ${why}`,
    disabled: (at: string, why: string) => `Disabled since ${at}: ${why}`,
    reasons: {
      http_410: "its server says that it is gone",
      failing: "it failed for too long",
      by_admin: "by an admin",
    } as Record<string, string>,
    oldSecret: (until: string) => `Messages are signed with the old secret too, until ${until}`,
    test: "Test",
    testing: "A message is on its way …",
    outcomes: {
      delivered: () => "It took the message.",
      waiting: () => "The message still waits for its turn.",
      dead: (why: string) => `It did not take the message: ${why}`,
    },
    rotate: "New secret",
    confirmRotate: (name: string) => `Give “${name}” a new secret?`,
    thenRotate: "It is shown once. For 24 hours messages are signed with the old one too.",
    disable: "Disable",
    confirmDisable: (name: string) => `Disable “${name}”?`,
    thenDisable: "It gets nothing until it is enabled. What it misses is kept and can be sent again.",
    enable: "Enable",
    remove: "Delete",
    removed: (name: string) => `“${name}” was deleted.`,
    confirmRemove: (name: string) => `Delete “${name}”?`,
    thenRemove: "Its secret and what waits for it go too.",
    secret: (name: string) => `The signing secret of “${name}”. It is not shown again:`,
    copy: "Copy",
    noted: "I have kept it",
    dead: {
      title: "What did not arrive",
      none: "Nothing was given up.",
      says: (what: string, channel: string) => `${what}, to ${channel}`,
      why: (at: string, why: string) => `${at}: ${why}`,
      types: {
        "alert.opened": "An alert was opened",
        "alert.acknowledged": "An alert was acknowledged",
        "alert.silenced": "An alert was silenced",
        "alert.resolved": "An alert was resolved",
        "alert.reopened": "An alert was reopened",
        "alert.digest": "A digest of alerts",
      } as Record<string, string>,
      replay: "Send again",
      replayed: "It is sent again.",
    },
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
    where: "Where",
    client: "From",
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
