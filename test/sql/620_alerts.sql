-- Stand-in of rules.
select is(
  audit.raise_alert(audit.anomaly_rule(), acme(), '{}', now(), 'once', '{}', '{}'),
  audit.raise_alert(audit.anomaly_rule(), acme(), '{}', now(), 'again', '{}', '{}'), 'the same alert is one'
);
