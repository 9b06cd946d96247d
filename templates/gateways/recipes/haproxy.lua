-- /etc/haproxy/keyward.lua: asks Keyward about a request; the frontend refuses what has no clear answer

local gateway = os.getenv("KEYWARD_GATEWAY") or ""
local answers = { id = "x-key-id", owner = "x-key-owner", tenant = "x-key-tenant", scopes = "x-key-scopes",
                  resources = "x-key-resources", code = "x-key-code", challenge = "www-authenticate" }

core.register_action("keyward", { "http-req" }, function(txn)
    local sent = txn.http:req_get_headers()
    local headers = {
        ["host"] = { "{{ to.host }}" },
        ["x-keyward-gateway"] = { gateway },
        ["x-forwarded-for"] = { txn.sf:src() },
    }
    for _, name in ipairs({ "authorization", "x-api-key" }) do
        if sent[name] then
            headers[name] = {}
            for i = 0, #sent[name] do
                headers[name][i + 1] = sent[name][i]
            end
        end
    end
    local answer = core.httpclient():get({ url = "http://127.0.0.1:9009/api/v1/auth{{ to.query }}", headers = headers, timeout = 2000 })
    txn:set_var("txn.keyward_status", answer and answer.status or 503)
    for name, header in pairs(answers) do
        local value = answer and answer.headers and answer.headers[header]
        txn:set_var("txn.keyward_" .. name, value and value[0] or "")
    end
end)

