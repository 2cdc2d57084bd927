-- Every template can be gathered, and every control's queries are of the query language.
select isnt_empty('select from audit.report_templates');
select lives_ok(format('select audit.parse_query(%L), audit.parse_query(%L)', query, concat_ws(' ', nullif(query, ''), exceptions)), template || ' ' || control || ' can be asked') from audit.report_controls;
select is_empty($$ select from audit.report_controls c where not exists (select from audit.report_templates t where t.template = c.template and 'controls' = any (t.sections)) $$, 'no control is without a template');
select is_empty($$ select from audit.report_controls where (exceptions is null) <> (exception_means is null) $$, 'who counts exceptions says what they are');
select is_empty($$ select control from audit.report_controls where basis = 'law' and wording not like '%“%' $$, 'what is said to be law quotes it');
select is_empty($$ select control from audit.report_controls where basis = 'standard' and wording like '%“%' $$, 'what is in our words does not look like a quotation');
select is((audit.report_templates_json() #> '{templates,0}') ? 'about', true, 'templates say what they are about');
select is(said('member', 'select audit.report_templates_json() ? ''templates'''), 'true', 'to everybody signed in');
