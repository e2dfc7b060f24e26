-- What the agent said last that it cannot do, as a JSON list of sentences without keys, addresses and names.
ALTER TABLE servers ADD COLUMN agent_troubles TEXT NOT NULL DEFAULT '[]';
-- What holds for all of its peers, as it was told last: another configuration is a change like any other.
ALTER TABLE servers ADD COLUMN told_terms TEXT;

-- A slot whose peer was taken away is held until the agent has said that it is gone; one whose server got another pool
-- since is not there any more.
UPDATE removed_peers SET gone_at = removed_at
    WHERE gone_at IS NULL AND NOT EXISTS (SELECT 1 FROM slots WHERE slots.peer_id = removed_peers.peer_id);
UPDATE servers SET slots_held = slots_held
    + (SELECT count(*) FROM removed_peers WHERE server_id = servers.id AND gone_at IS NULL);
