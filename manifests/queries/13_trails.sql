-- Each document's trail has one word per stage that it met, so all counts, those of kept documents by reason included,
-- are sums over trails: per task, stage, reason and language, in documents and in bytes as read.
-- Each row returned is a violation.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 13_trails.sql | duckdb
WITH d AS (
    SELECT parse_filename(filename, true) AS task, * EXCLUDE (filename) FROM read_parquet($decisions, filename = true)
),
altered AS (
    SELECT task, file_row, any_value(text_bytes) AS as_read FROM d WHERE action = 'alter' GROUP BY ALL
),
ends AS (
    SELECT task, trail, text_bytes FROM d WHERE action = 'exclude'
    UNION ALL
    SELECT k.task, k.trail, coalesce(as_read, k.text_bytes)
    FROM (
        SELECT parse_filename(filename, true) AS task, file_row, trail, text_bytes
        FROM read_parquet($kept, filename = true)
    ) k
    LEFT JOIN altered ON k.task = altered.task AND k.file_row = altered.file_row
),
trails AS (
    SELECT task, string_split(trail, ' ') AS words, count(*) AS rows, sum(text_bytes) AS text_bytes
    FROM ends GROUP BY ALL
),
placed AS (
    SELECT task, words, rows, text_bytes, unnest(range(len(words))) AS position FROM trails
),
met AS (
    SELECT task, CAST(position AS INTEGER) AS position, split_part(words[position + 1], '=', 1) AS reason,
        nullif(regexp_extract(array_to_string(words[:position + 1], ' '), '.*=([^ ]*)', 1), '') AS language,
        CAST(sum(rows) AS BIGINT) AS rows, CAST(sum(text_bytes) AS BIGINT) AS text_bytes
    FROM placed GROUP BY ALL
),
counted AS (
    SELECT task, position, reason, language,
        CAST(sum(rows) AS BIGINT) AS rows, CAST(sum(text_bytes) AS BIGINT) AS text_bytes
    FROM read_parquet($counts) GROUP BY ALL
)
SELECT 'counted, but on no trail' AS violation, * FROM (FROM counted EXCEPT ALL FROM met)
UNION ALL
SELECT 'on trails, but counted otherwise', * FROM (FROM met EXCEPT ALL FROM counted)
ORDER BY ALL
