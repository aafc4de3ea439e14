// Validates custom resources by the schemas of their operators. Reads a JSON array, prints [{kind, name, error}].
import { readFileSync } from "node:fs";

const operator = "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/";
const keda = "@kubernetes-models/keda/keda.sh/v1alpha1/";
const gateway = "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/";
const models = {
  HTTPRoute: gateway + "HTTPRoute",
  PodMonitor: operator + "PodMonitor",
  PrometheusRule: operator + "PrometheusRule",
  ScaledObject: keda + "ScaledObject",
  TriggerAuthentication: keda + "TriggerAuthentication",
};

async function check(resource) {
  const result = { kind: resource.kind, name: resource.metadata.name, error: null };
  try {
    const module = await import(models[resource.kind]);
    new module[resource.kind](resource).validate();
  } catch (error) {
    result.error = String(error.message);
  }
  return result;
}

const resources = JSON.parse(readFileSync(process.argv[2], "utf8"));
console.log(JSON.stringify(await Promise.all(resources.map(check))));
