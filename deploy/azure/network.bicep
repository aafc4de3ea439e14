// Addresses: nodes and private endpoints here; pods and services have ranges of their own inside the cluster.
param location string

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: 'dedup'
  location: location
  properties: {
    addressSpace: { addressPrefixes: ['10.64.0.0/16'] }
    subnets: [
      { name: 'nodes', properties: { addressPrefix: '10.64.0.0/22' } }
      { name: 'endpoints', properties: { addressPrefix: '10.64.4.0/24' } }
    ]
  }
}

output networkId string = network.id
output networkName string = network.name
output endpointsSubnetId string = '${network.id}/subnets/endpoints'
