-- What enters a stage is what the stage before it let pass, in documents and in bytes of text as read, per task.
-- Each row returned is a violation.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 04_stage_chain.sql | duckdb
WITH stages AS (
    SELECT task, position, any_value(stage) AS stage, count(DISTINCT stage) AS names,
        sum(rows) AS entered, sum(text_bytes) AS entered_bytes,
        coalesce(sum(rows) FILTER (action <> 'exclude'), 0) AS passed,
        coalesce(sum(text_bytes) FILTER (action <> 'exclude'), 0) AS passed_bytes
    FROM read_parquet($counts) GROUP BY task, position
),
chained AS (
    SELECT *, lag(passed) OVER step AS before, lag(passed_bytes) OVER step AS before_bytes
    FROM stages WINDOW step AS (PARTITION BY task ORDER BY position)
)
SELECT task, position, stage, CASE
    WHEN names > 1 THEN 'several stages at one position'
    WHEN before IS NULL AND stage <> 'intake' THEN 'the first stage is not intake'
    WHEN before IS NOT NULL AND stage = 'intake' THEN 'intake is not the first stage'
    WHEN entered <> before THEN entered || ' documents entered, ' || before || ' had passed the stage before'
    WHEN entered_bytes <> before_bytes THEN entered_bytes || ' bytes entered, ' || before_bytes || ' had passed'
END AS violation
FROM chained WHERE violation IS NOT NULL
UNION ALL
SELECT task, position, stage, 'negative count' FROM read_parquet($counts) WHERE rows < 0 OR text_bytes < 0
ORDER BY ALL
