DROP TABLE notices;
DROP TABLE mails;
