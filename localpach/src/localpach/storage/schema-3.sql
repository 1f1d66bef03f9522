DROP INDEX jobs_to_do;
CREATE INDEX jobs_to_do ON jobs (over, pipeline, num);
CREATE INDEX jobs_in_order ON jobs (pipeline, num);
CREATE INDEX commits_in_order ON commits (repo, num);
CREATE INDEX branches_with_trigger ON branches (num) WHERE trigger IS NOT NULL;
