-- Was my site used? Everything about one host and its subdomains: what was kept and where it lies, what was
-- excluded, by which stage, for which reason and on which evidence. `$site`: the host as written, 'example.org'.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g; s:[$]site:'example.org':g" was_my_site_used.sql | duckdb
WITH wanted AS (
    SELECT CASE WHEN regexp_matches(site, '^([[]|[0-9.]+$)') THEN site ELSE
        array_to_string(list_reverse(string_split(site, '.')), '.') END AS rhost
    FROM (SELECT lower($site) AS site)
),
rows AS (
    SELECT rhost, 'keep' AS action, NULL AS stage, NULL AS reason, text_bytes, shard, NULL AS task, NULL AS evidence_id
    FROM read_parquet($kept)
    UNION ALL
    SELECT rhost, action, stage, reason, text_bytes, NULL, parse_filename(filename, true), evidence_id
    FROM read_parquet($decisions, filename = true) WHERE action = 'exclude'
),
e AS (
    SELECT parse_filename(filename, true) AS task, * EXCLUDE (filename, stage)
    FROM read_parquet($evidence, filename = true)
)
SELECT
    CASE WHEN regexp_matches(rows.rhost, '^([[]|[0-9]+[.:])') THEN rows.rhost ELSE
        array_to_string(list_reverse(string_split(regexp_replace(rows.rhost, ':[0-9]+$', ''), '.')), '.')
        || regexp_extract(rows.rhost, ':[0-9]+$') END AS host,
    action, stage, reason,
    count(*) AS documents,
    CAST(sum(text_bytes) AS BIGINT) AS text_bytes,
    protocol, agents, line, rule, fetched_at,
    list_sort(list_distinct(list(shard) FILTER (shard IS NOT NULL))) AS shards
FROM rows
JOIN wanted ON rows.rhost = wanted.rhost OR starts_with(rows.rhost, wanted.rhost || '.')
    OR starts_with(rows.rhost, wanted.rhost || ':')
LEFT JOIN e ON rows.task = e.task AND rows.evidence_id = e.evidence_id
GROUP BY rows.rhost, action, stage, reason, protocol, agents, line, rule, fetched_at
ORDER BY rows.rhost, action DESC, stage, reason, line, rule
