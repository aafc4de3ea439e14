// An OPC UA server with its standard demo address space; prints a line when it is ready. Argument: the port.
const { OPCUAServer } = require("node-opcua-server");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { build_address_space_for_conformance_testing } = require("node-opcua-address-space-for-conformance-testing");
const { nodesets } = require("node-opcua-nodesets");

async function main(port) {
    const server = new OPCUAServer({
        hostname: "127.0.0.1",
        port,
        nodeset_filename: [nodesets.standard],
        securityModes: [MessageSecurityMode.None],
        securityPolicies: [SecurityPolicy.None],
        serverInfo: { applicationUri: "urn:test:node-opcua" },
    });
    await server.initialize();
    build_address_space_for_conformance_testing(server.engine.addressSpace, { mass_variables: true });
    await server.start();
    console.log(JSON.stringify({ ready: true }));
}

main(Number(process.argv[2]));
