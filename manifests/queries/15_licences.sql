-- One licence, one verdict: what a source's policy excludes for the kind of its licence (copyleft, non-commercial, …) is
-- kept nowhere in that source under the same SPDX expression. Each row returned is a violation.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 15_licences.sql | duckdb
WITH sources AS (SELECT DISTINCT task, source FROM read_parquet($counts)),
excluded AS (
    SELECT DISTINCT parse_filename(d.filename, true) AS task, e.license, e.rule
    FROM read_parquet($decisions, filename = true) d
    JOIN read_parquet($evidence, filename = true) e
        ON parse_filename(d.filename, true) = parse_filename(e.filename, true) AND d.evidence_id = e.evidence_id
    WHERE d.stage = 'license' AND d.reason = 'restricted' AND e.license IS NOT NULL
        AND e.rule IN ('copyleft', 'weak_copyleft', 'share_alike', 'noncommercial', 'noderivatives')
),
kept AS (
    SELECT parse_filename(filename, true) AS task, license, count(*) AS documents
    FROM read_parquet($kept, filename = true) WHERE license IS NOT NULL GROUP BY ALL
)
SELECT DISTINCT sources.source, kept.license, excluded.rule, kept.task, kept.documents,
    'kept, but excluded elsewhere in the source' AS violation
FROM excluded JOIN sources ON excluded.task = sources.task
JOIN sources AS same ON same.source = sources.source
JOIN kept ON kept.task = same.task AND kept.license = excluded.license
ORDER BY ALL
