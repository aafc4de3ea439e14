#!/bin/sh
# Installs the chart in the cluster that main.bicep made, with the values that it put out. `azd up` calls this; it may be repeated.
set -eu
az aks get-credentials --resource-group "$AZURE_ENV_NAME" --name dedup --overwrite-existing
printf '%s' "$helmValues" | helm upgrade --install plant oci://ghcr.io/redundant-edge-dedup/charts/dedup-service \
  --namespace dedup --create-namespace --values - --wait --timeout 15m
