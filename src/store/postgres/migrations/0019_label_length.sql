-- No text in an index is so long that the index of a restored database could not hold it.
--
-- An entry of an index may take 2704 bytes, compressed. How well a text is compressed is a setting of the server.
-- So a longer one that one server took would keep another from restoring the table. The other texts have limits
-- since 0005 and 0007.

-- As in 0009, and for the same reason.
LOCK TABLE keyservice.writers_lock IN EXCLUSIVE MODE;

-- The longest valid label has 381 bytes. The rows of before need not be read.
ALTER TABLE keyservice.key_labels
    ADD CONSTRAINT text_lengths CHECK (
        octet_length(account_id) <= 400 AND octet_length(label) <= 400) NOT VALID;
