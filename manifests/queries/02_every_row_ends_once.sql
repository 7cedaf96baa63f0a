-- Every row of every input file ends exactly once, as kept or as excluded: none is missing, doubled or invented.
-- The number of rows in the file is what intake counted. Each row returned is a violation.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 02_every_row_ends_once.sql | duckdb
WITH ends AS (
    SELECT parse_filename(filename, true) AS task, file_row, NULL AS stage FROM read_parquet($kept, filename = true)
    UNION ALL
    SELECT parse_filename(filename, true), file_row, stage
    FROM read_parquet($decisions, filename = true) WHERE action = 'exclude'
),
read AS (
    SELECT task, CAST(sum(rows) AS BIGINT) AS rows FROM read_parquet($counts) WHERE stage = 'intake' GROUP BY task
),
ended AS (
    SELECT coalesce(e.task, read.task) AS task, coalesce(rows, 0) AS rows, coalesce(endings, 0) AS endings
    FROM (SELECT task, count(*) AS endings FROM ends GROUP BY task) e FULL JOIN read ON e.task = read.task
),
several AS (SELECT task, file_row FROM ends GROUP BY task, file_row HAVING count(*) > 1)
SELECT task, file_row, string_agg(coalesce('excluded by ' || stage, 'kept'), ' and ' ORDER BY stage) AS violation
FROM ends JOIN several USING (task, file_row) GROUP BY task, file_row
UNION ALL
SELECT ends.task, file_row, 'the file has no such row: ' || coalesce(rows, 0) || ' rows were read'
FROM ends LEFT JOIN read ON ends.task = read.task
WHERE file_row < 0 OR file_row >= coalesce(rows, 0)
UNION ALL
SELECT task, NULL, rows || ' rows were read, ' || endings || ' ended as kept or excluded'
FROM ended WHERE rows <> endings
ORDER BY ALL
