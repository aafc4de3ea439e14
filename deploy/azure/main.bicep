// Everything that the service needs in an empty subscription (docs/azure.md has the commands):
//   hubs.bicep     IoT Hub, which routes to an Event Hub, so that Entra ID covers the input; the clean and dead-letter hubs
//   state.bicep    Redis for the claims, a storage account for the checkpoints, a Key Vault for the API's token
//   cluster.bicep  AKS with workload identity, Managed Prometheus and Log Analytics
//   network.bicep  the virtual network; with `privateEndpoints`, what closes hubs, storage, Redis and vault to the internet
//
// Not checked: no compiler of Bicep was at hand, and no subscription. The tests parse these files, evaluate them for every
// size, with and without private endpoints, and render the chart from what comes out. `make azure` compares each property, and
// each value of an enumeration, with Microsoft's packages azure-mgmt-* of the same API versions. Not seen are the compiler's
// own rules, what a region offers, quotas, prices, names that somebody else has, and how long a deployment takes. Run
// `az bicep build --file main.bicep` for the ARM template, and `az deployment sub what-if` before the first deployment.
targetScope = 'subscription'

@description('Name of the resource group that is made. Names that must be unique in Azure follow from it and the subscription.')
@minLength(1)
@maxLength(60)
param name string

@description('Region of everything.')
param location string = deployment().location

@description('Which of sizes.json.')
@allowed(['trial', 'small', 'production'])
param size string = 'trial'

@description('What replaces the figures of the size: those that `dedup-service plan` prints for a load of your own.')
param overrides object = {}

@description('Reach hubs, storage, Redis and vault from the virtual network only. IoT Hub stays open for the gateways.')
param privateEndpoints bool = false

@description('Token of the REST API and the dashboard: kept in the Key Vault, and nowhere else.')
@minLength(16)
@secure()
param apiToken string

@description('Object id of a person or group that may read the clean stream and the dead letters. Empty: nobody but the service.')
param readerId string = ''

@description('Namespace in the cluster, into which the chart is installed.')
param kubernetesNamespace string = 'dedup'

var sizes = loadJsonContent('sizes.json')
var sizing = union(sizes[size], overrides)
var unique = 'dedup${uniqueString(subscription().id, name)}'

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: name
  location: location
  tags: { 'azd-env-name': name }
}

module dedup 'resources.bicep' = {
  name: 'dedup'
  scope: group
  params: {
    location: location
    unique: unique
    sizing: sizing
    privateEndpoints: privateEndpoints
    apiToken: apiToken
    readerId: readerId
    kubernetesNamespace: kubernetesNamespace
  }
}

@description('Values of the chart. No secret is among them.')
output helmValues object = dedup.outputs.helmValues
