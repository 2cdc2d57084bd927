select has_table('audit', 'alerts', 'alerts are rows');
