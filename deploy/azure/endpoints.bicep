// With `privateEndpoints`: an address in the virtual network for each of what the pods reach, and the names that lead there.
param location string
param networkId string
param subnetId string
param eventHubsId string
param storageId string
param redisId string
param vaultId string

var reached = [
  { name: 'event-hubs', id: eventHubsId, part: 'namespace', zone: 'privatelink.servicebus.windows.net' }
  { name: 'blobs', id: storageId, part: 'blob', zone: 'privatelink.blob.${environment().suffixes.storage}' }
  { name: 'redis', id: redisId, part: 'redisEnterprise', zone: 'privatelink.redis.azure.net' }
  { name: 'vault', id: vaultId, part: 'vault', zone: 'privatelink.vaultcore.azure.net' }
]

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for one in reached: {
  name: one.zone
  location: 'global'
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (one, index) in reached: {
  parent: zones[index]
  name: 'dedup'
  location: 'global'
  properties: { registrationEnabled: false, virtualNetwork: { id: networkId } }
}]

resource endpoints 'Microsoft.Network/privateEndpoints@2024-05-01' = [for one in reached: {
  name: 'dedup-${one.name}'
  location: location
  properties: {
    subnet: { id: subnetId }
    privateLinkServiceConnections: [
      { name: one.name, properties: { privateLinkServiceId: one.id, groupIds: [one.part] } }
    ]
  }
}]

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [for (one, index) in reached: {
  parent: endpoints[index]
  name: 'default'
  properties: { privateDnsZoneConfigs: [{ name: one.name, properties: { privateDnsZoneId: zones[index].id } }] }
}]
