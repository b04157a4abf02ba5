-- safe drop-table: who is there is written anew by every node within seconds of its start.
DROP TABLE node;
