-- Stand-in of rules.
select is((audit.rule_for(audit.anomaly_rule(), acme())).kind, 'anomaly', 'there is a rule about anomalies');
