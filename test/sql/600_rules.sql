select has_table('audit', 'rules', 'rules are rows');
