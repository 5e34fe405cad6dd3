\set i random(1, 1000000)
select batchcortex.log_event('bench.append', 'thing', :i::bigint::text, after => '{"value": 17.25, "unit": "g/L", "phase": "feed", "operator": "night shift"}', org_id => (select org_id from bench.org));
