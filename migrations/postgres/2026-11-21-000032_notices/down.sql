DROP TABLE jobs;
DROP TABLE extensions;
