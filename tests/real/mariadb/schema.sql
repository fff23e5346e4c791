CREATE TABLE answers (answer integer);
INSERT INTO answers VALUES (42);
