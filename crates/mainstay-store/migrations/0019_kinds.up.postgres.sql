-- Lists by type follow the index of objects, which is made beside the intake: one index less for each webhook to write.
DROP INDEX event_kind;
