insert into capture_bench.jsonb_trigger (lot, parameter, value, unit) values ('L-2026-0042', 'dissolved oxygen', 41.2500, '%');
