\set i random(1, 1000000)
insert into batchcortex.events_log (org_id, action, record_type, record_id, after)
values ((select org_id from bench.org), 'bench.append', 'thing', :i::bigint::text, '{"value": 17.25, "unit": "g/L", "phase": "feed", "operator": "night shift"}');
