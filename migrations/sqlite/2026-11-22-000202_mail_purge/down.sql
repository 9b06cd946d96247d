DROP INDEX mails_done;
