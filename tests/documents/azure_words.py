"""The commands for Azure that the pages and deploy/azure use, with their parameters.

`az` 2.91 parsed those that it brings along, except `deployment sub create`, of which this was not shown. Of the extension
azure-iot (`iot edge`, `iot hub connection-string`, `iot hub device-identity`, `iot hub monitor-events`) the parameters were
read in its source in part. Those of `redisenterprise`, an extension as well, were not checked. So a test that passes says of
these that the pages agree with this table, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.documents.blocks import ROOT

GROUP = "--resource-group --name"
HUB = "--hub-name --device-id"
AZ = {
    "account set": "--subscription",
    "ad signed-in-user show": "",
    "aks create": f"{GROUP} --location --node-count --node-vm-size --network-plugin --network-plugin-mode "
    "--network-dataplane --network-policy --enable-oidc-issuer --enable-workload-identity --no-ssh-key",
    "aks get-credentials": f"{GROUP} [--overwrite-existing]",
    "aks show": GROUP,
    "bicep build": "[--file]",
    "deployment sub create": "--name --location --template-file --parameters",
    "deployment sub delete": "--name",
    "deployment sub show": "--name",
    "deployment sub what-if": "[--name] [--location] [--template-file] [--parameters]",
    "eventhubs eventhub consumer-group create": f"{GROUP} --namespace-name --eventhub-name",
    "eventhubs eventhub create": f"{GROUP} --namespace-name --partition-count --cleanup-policy --retention-time-in-hours",
    "eventhubs namespace create": f"{GROUP} --location --sku --capacity --disable-local-auth --public-network-access",
    "eventhubs namespace show": GROUP,
    "extension add": "--name",
    "group create": "--name --location",
    "group delete": "--name --yes",
    "identity create": f"{GROUP} --location",
    "identity federated-credential create": f"{GROUP} --identity-name --issuer --subject --audiences",
    "identity show": GROUP,
    "iot edge set-modules": f"{HUB} --content",
    "iot hub connection-string show": "--resource-group --hub-name --policy-name --default-eventhub",
    "iot hub consumer-group create": f"{GROUP} --hub-name",
    "iot hub create": f"{GROUP} --location --sku --unit --partition-count --retention-day",
    "iot hub device-identity connection-string show": HUB,
    "iot hub device-identity create": f"{HUB} --edge-enabled",
    "iot hub list": "--resource-group",
    "iot hub monitor-events": "[--hub-name]",
    "keyvault list": "--resource-group",
    "keyvault purge": "--name --location",
    "login": "",
    "provider register": "--namespace --wait",
    "redisenterprise create": "--resource-group --cluster-name --location --sku --public-network-access --eviction-policy "
    "--clustering-policy --client-protocol",
    "redisenterprise database access-policy-assignment create": "--resource-group --cluster-name --database-name "
    "--access-policy-assignment-name --access-policy-name --object-id",
    "redisenterprise show": "--resource-group --cluster-name",
    "role assignment create": "--assignee-object-id --assignee-principal-type --role --scope",
    "storage account create": f"{GROUP} --location --sku --min-tls-version --allow-blob-public-access "
    "--allow-shared-key-access --public-network-access --default-action",
    "storage account show": GROUP,
    "storage container-rm create": f"{GROUP} --storage-account",
    "vm list-usage": "--location",
}
"""Commands, each with all parameters that it must have to do what these pages use it for; in brackets what it may have."""
OUTPUT = {"--query", "--output"}
VALUES = {
    "--sku": {"S1", "Standard", "Standard_LRS", "Balanced_B0"},
    "--eviction-policy": {"NoEviction"},
    "--clustering-policy": {"OSSCluster"},
    "--client-protocol": {"Encrypted"},
    "--cleanup-policy": {"Delete"},
    "--default-action": {"Allow"},
    "--public-network-access": {"Enabled"},
    "--network-plugin": {"azure"},
    "--network-plugin-mode": {"overlay"},
    "--network-dataplane": {"cilium"},
    "--network-policy": {"cilium"},
    "--min-tls-version": {"TLS1_2"},
    "--assignee-principal-type": {"ServicePrincipal", "User"},
    "--output": {"tsv", "json", "table"},
    "--policy-name": {"service"},
    "--audiences": {"api://AzureADTokenExchange"},
    "--role": {"Azure Event Hubs Data Sender", "Azure Event Hubs Data Receiver", "Storage Blob Data Contributor"},
}
FILES = {"--template-file", "--content", "--file"}
AZD = {"up", "config set"}


def check_az(command: str, given: Mapping[str, str]) -> None:
    assert command in AZ, f"az {command}: add it to AZ, after its page"
    may = {word.strip("[]") for word in AZ[command].split()} | OUTPUT
    must = {word for word in AZ[command].split() if not word.startswith("[")}
    assert must <= given.keys() <= may, f"az {command}: {sorted(given.keys() ^ must)}"
    for name, value in given.items():
        assert value in VALUES.get(name, {value}), f"az {command} {name} {value}"
        assert name not in FILES or (ROOT / value).exists(), f"az {command}: there is no {value}"
    if command == "deployment sub create":
        known = re.findall(r"^param (\w+)", (ROOT / given["--template-file"]).read_text(), re.MULTILINE)
        assert {pair.partition("=")[0] for pair in given["--parameters"].split()} <= set(known)


def check_azd(words: list[str]) -> None:
    assert " ".join(words[:2]) in AZD or words[0] in AZD, words
