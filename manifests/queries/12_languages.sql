-- The languages of the documents that passed a task's last stage are those of its kept documents, in number.
-- Each row returned is a violation.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 12_languages.sql | duckdb
WITH c AS (
    SELECT *, max(position) OVER (PARTITION BY task) AS last FROM read_parquet($counts)
),
passed AS (
    SELECT task, language, CAST(sum(rows) AS BIGINT) AS rows
    FROM c WHERE position = last AND action <> 'exclude' GROUP BY ALL
),
kept AS (
    SELECT parse_filename(filename, true) AS task, language, count(*) AS rows
    FROM read_parquet($kept, filename = true) GROUP BY ALL
)
SELECT 'passed the last stage, not kept' AS violation, * FROM (FROM passed EXCEPT ALL FROM kept)
UNION ALL
SELECT 'kept, did not pass the last stage', * FROM (FROM kept EXCEPT ALL FROM passed)
ORDER BY ALL
